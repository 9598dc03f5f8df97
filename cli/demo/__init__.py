"""A simulated hospital network: its plan, its spans, what really happened, and how well the product found it out."""
