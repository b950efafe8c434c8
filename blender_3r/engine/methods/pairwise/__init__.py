"""Pairs of images to posed views: pair graphs, inference, and the alignments that join pairs into one scene."""
