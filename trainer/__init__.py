"""One GPU: model, loop, evals; needs torch, numpy, pyarrow and safetensors."""

VERSION = 2  # of what training means; raise it when equal jobs would give other numbers (2: another `micro`)
