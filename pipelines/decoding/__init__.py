"""From the bytes of an image file to pixels: one decoder, in TensorFlow's operations, for training and for serving.

What is refused, and the pixels of what is not, are the same wherever an image is read. The pixels are those that
Pillow shows: `ImageOps.exif_transpose(image).convert("RGB")`.
"""
