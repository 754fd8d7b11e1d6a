"""`vnp-doctor`: looks at the machine and the installation, and says what is wrong and what to type."""
