"""What an AWS client expects of a server, whatever it asks for: signatures and the form of errors."""
