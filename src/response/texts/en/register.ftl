### Making an account and confirming an address.
