"""The hills of a mixture: modes of its density, and which of them a point climbs to."""
