"""What comes after the training: a network from its file of weights, used on new images, or exported."""
