"""The compiled loops: forward and adjoint, epochs, Hessians, fourth order, populations."""
