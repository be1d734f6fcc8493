"""The SLi-Rec network."""
