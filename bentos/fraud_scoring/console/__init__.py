"""The analyst's console: HTML pages that the scoring service serves itself.

Pages are made on the server (templates/), htmx swaps parts of them, and one script of our own (static/console.js)
gives the keys. What the pages show comes from `bentos.fraud_scoring.desk`; nothing is decided here.
"""
