"""Where ChatKit keeps what must outlive it: one database, opened here and nowhere else.

`engine` opens it and says when it cannot be reached, `dialects` names the databases there are, of which `sqlite` and `postgres` say what is
true of one only, `tables` describes it, `migrate` brings it to the present shape, and the other modules hold the SQL, one area each.
"""
