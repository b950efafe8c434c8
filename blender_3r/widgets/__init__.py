"""What panels and the dialogs of operators both draw: wrapped sentences, numbers in words, a model's licence."""
