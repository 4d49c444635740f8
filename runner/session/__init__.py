"""One run from start to end: the only place where the parts meet.

campaign    scenarios one after the other, and what a run needs around it
live        start everything, follow the log, end everything        (run)
replay      the log of a run that is over, judged again             (verify)
attach      the log of a run that another process drives           (watch)
clockwatch  what that log says about clocks                         (clocks)
recover     journals that were not published                        (recover)

conductor   actors of a test in a prescribed order                  (runner.Conductor)

collector   how often garbage is looked for
dispatcher  which part gets a log entry; batch: its records; retiming: stamps of other hosts' clocks
people, watchdog, clock   what a live run listens to beside the log
end_guess   why a run ended whose log does not say so
snapshotter what the live view shows of it
bundle, selection, remote_hosts, remote_output, host_results   runs over several hosts
legacy, post_checks, output   what is beside and behind a run

Nothing is imported here, so that a command loads no more than it needs.
"""
