"""What couriers, gateways and 3PLs tell us: verified, kept as it came, answered, and then processed from the queue."""
