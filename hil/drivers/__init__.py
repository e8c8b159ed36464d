"""labgrid drivers of the test rig: the virtual machine and the world around it, or the hands of an operator."""
