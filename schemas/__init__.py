"""Arrow schemas of every table and the SQL that reads them; needs only pyarrow."""
