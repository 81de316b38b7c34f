"""The embedding MDP, the search policies over it, asking, and the session that uses them."""
