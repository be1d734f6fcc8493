"""Interactions -> encoded sequences -> trained SLi-Rec -> model bundle."""
