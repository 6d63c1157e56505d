"""What a person reads: tables, claims, figures, pictures of hands, pages. Nothing here trains."""
