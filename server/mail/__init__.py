"""Mail that is not lost: letters wait in the database until a mail server has them, for six hours at most."""
