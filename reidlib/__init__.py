"""reidlib: person re-identification from event cameras and video with spiking and convolutional networks.

Sub-packages, in the order data flows through them: `events`, `datasets`, `models`, `losses`, `training`,
`evaluation`, `metrics`, `plots`, `reports`; `experiment` ties them together for the notebooks.
"""

__version__ = "0.1.0"
