"""The formats that applications talk to the gateway in, one module or package each."""
