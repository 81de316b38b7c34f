"""The self-contained HTML report of a study: where the policy fails, how sure that is, what to do next."""
