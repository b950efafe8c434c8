"""A method turns frames into posed views; one module each."""
