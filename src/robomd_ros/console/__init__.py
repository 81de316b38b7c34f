"""The operator's console: pages, their parts, and what they know. The node is nodes/operator_console.py."""
