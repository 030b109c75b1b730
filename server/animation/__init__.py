"""Photos to moving pictures: what comes in, what is made of it, the file that goes out, jobs over HTTP."""
