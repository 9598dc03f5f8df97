"""A simulated hospital network whose every step is emitted through the SDK, with planted faults and known answers."""
