"""Networks by name, where a method goes in them, and whether it has an effect there."""
