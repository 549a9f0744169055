"""What happened before: records of builds."""
