"""What simulated providers share: they listen, and a request is judged, spoiled by a fault, recorded, answered."""
