### The account page.
