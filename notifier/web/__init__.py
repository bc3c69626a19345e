"""What a running daemon answers over HTTP (contract, section 8)."""
