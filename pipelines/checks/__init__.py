"""What is to be known of a data set before a network is trained on it: balance, sizes, images that come twice."""
