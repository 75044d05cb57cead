"""What an operator sees: everything here looks on, and nothing here touches a takedown."""
