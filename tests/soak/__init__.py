"""A soak with faults: ids are issued, what is acknowledged is written down, and judged when the faults are over."""
