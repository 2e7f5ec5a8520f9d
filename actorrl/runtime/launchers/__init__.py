"""How agents come to be: in this process, on this machine, or on others over SSH.

inproc.py and local.py stand alone. For SSH read ssh.py, the story of a host that is made ready, and
then its steps: known_hosts.py and login.py under connection.py, remote_command.py (how anything is
run there; the scripts are in remote/), probe.py, code_sync.py, environment.py, agent_process.py,
forwards.py, and reachability.py for who can connect to whom.
"""
