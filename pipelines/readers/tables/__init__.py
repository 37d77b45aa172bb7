"""Tables that name images and what is to be told of each: CSV, Parquet, Hugging Face datasets."""
