"""What a comparison shows, made from its run folders alone; `report` writes it. Other reports draw with its parts."""
