"""Where ChatKit keeps what must outlive it: one database, opened here and nowhere else.

`engine` opens it and says when it cannot be reached, `sqlite` holds what is true of SQLite only, `tables` describes it,
`migrate` brings it to the present shape, and the other modules hold the SQL, one area each.
"""
