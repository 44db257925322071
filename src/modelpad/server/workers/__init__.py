"""Several worker processes that act as one server.

supervisor.py   forks, signals, sockets: carries out the fleet's decisions
  connection.py   the supervisor's end of each worker's socket
  fleet.py        which workers to run (pure: events in, actions out)
    restarts.py     how long to wait before replacing a worker that died
    rollouts.py     new versions, prepared by all workers and then served by all
    commands.py     load and unload commands of an admin, run by all workers
    collection.py   metrics of all workers, added up
    memory.py       memory limits of workers
channel.py      a worker's end of its socket
messages.py     what goes over the sockets
"""
