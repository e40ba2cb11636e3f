"""The book: every op and every stage that selects, pads or scatters, told as a loop over one image.

Slow and plain on purpose: no batch dimension, no padding, nothing clever. Read a function here first, then its fast
version; the tests hold the two together. Nothing but tests, notebooks and assignments imports this package.
"""
