"""Docker's engine API: values of the wire, translated to calls of the SDK and back. Holds no state of its own."""
