"""Blocks that several systems share: spiking neurons, the spiking ResNet, heads."""
