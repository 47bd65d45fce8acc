def _keep_interrupts():
    """Python misses an interrupt that comes in the instant in which a call
    begins to wait, until that call returns by itself. A second signal, one that
    does nothing else, makes the call look again. Code that has gone on since
    gets none: not every call in C bears a signal."""
    import os
    import signal
    import sys
    import threading
    import time

    if not hasattr(signal, "pthread_kill") or hasattr(signal.getsignal(signal.SIGURG), "keeps_interrupts"):
        return
    told, teller = os.pipe()
    os.set_blocking(teller, False)
    main = threading.main_thread().ident

    def watch():
        while True:
            if signal.SIGINT in os.read(told, 4096):
                waits = place()
                for pause in 0.05, 0.5:
                    time.sleep(pause)
                    if place() != waits:
                        break
                    signal.pthread_kill(main, signal.SIGURG)
                waits = None  # it would keep the variables of the frame

    def place():
        """Which instruction of which frame the main thread is at."""
        frame = sys._current_frames().get(main)
        return frame, frame and frame.f_lasti

    def nothing(number, frame):
        pass

    nothing.keeps_interrupts = True
    signal.signal(signal.SIGURG, nothing)
    signal.set_wakeup_fd(teller, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=watch, daemon=True).start()


_keep_interrupts()
del _keep_interrupts
