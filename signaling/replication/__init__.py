"""Several signaling nodes as one: the state machine replicated through an ordered log of events.

Every node holds the whole state machine. What comes on a node's sockets is appended to one log, and every
node applies the log's events in the log's order (state machine replication: Schneider, "Implementing
Fault-Tolerant Services Using the State Machine Approach", ACM Computing Surveys 22(4), 1990). Of what follows
each node carries out what concerns its own connections.
"""
