"""The likelihood of raw recordings of all sessions, loadings integrated out."""
