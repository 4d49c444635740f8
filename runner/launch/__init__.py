"""Names by which earlier releases start what runs on other hosts. Belongs here: nothing new."""
