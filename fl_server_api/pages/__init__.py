"""The pages for people: HTML for a browser's session, beside the API that they show."""
