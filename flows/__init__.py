"""What a data engineer and a researcher run: one file a job; flows join the folders, which never import each other."""
