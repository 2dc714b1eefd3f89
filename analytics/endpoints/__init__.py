"""One file per address; each turns a request into a question and rows into a reply."""
