"""What tests/soak.py is made of: the payloads (wire), who serves (peers), who sends (load, udp), and the daemon itself."""
